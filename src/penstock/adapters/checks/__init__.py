"""Checks of answers: in processes of their own, which can be killed, and at services of users."""
