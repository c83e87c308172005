"""The networks: ConvLSTM layers and the forecasters built on them. Knows no files and no CLI."""
