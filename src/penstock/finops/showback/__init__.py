"""The review report: is spend growing faster than use, what does an answer cost, is what is rented used."""
