"""The ConvLSTM layers, with the parameters, shapes and weights that Keras gives them."""
