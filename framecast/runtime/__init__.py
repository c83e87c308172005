"""What the program needs of the machine: device, memory, processes, signals, files it writes."""
