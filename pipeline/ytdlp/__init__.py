"""yt-dlp in a process of its own: what it is asked, what may go wrong, and which addresses it may visit."""
