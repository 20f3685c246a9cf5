"""What each shipped policy decides in ten situations, in files that people read."""
