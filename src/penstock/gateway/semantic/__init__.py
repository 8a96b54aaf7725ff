"""Answers by wording and by meaning: looked up beside the exact cache, learned from after every miss."""
