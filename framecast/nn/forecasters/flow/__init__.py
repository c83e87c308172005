"""The default network: classical extrapolations, blended by ConvLSTM2D layers."""
