"""Budgets as the cost plane sees them: what they have spent and will spend, whom they alert, and the book that workers draw on."""
