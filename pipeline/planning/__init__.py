"""What a build will take, told from a few of its videos."""
