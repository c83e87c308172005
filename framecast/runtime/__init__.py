"""The machine: device, memory, processes, signals, and the files that are written."""
