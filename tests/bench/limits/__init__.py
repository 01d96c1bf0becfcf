"""The limits: the barest programs that move the same bytes over the same road, without doing what Transom does."""
