"""What an answer shows of itself: how it ended, whether it declines, how sure its tokens were, whether it has the form asked for."""
