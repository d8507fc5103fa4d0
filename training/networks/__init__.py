"""Networks: picture in, logits out; they hold nothing between calls."""
