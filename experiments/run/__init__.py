"""What every run needs, written once: options, folder, updates, signals, terminal."""
