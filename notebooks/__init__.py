"""Tutorial notebooks. The percent scripts are the source."""
