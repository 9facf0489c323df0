"""What the conversions of several libraries have in common."""
