"""What has to be told, to whom, and that it arrives."""
