"""Requests on routes: the course over tiers, calls made aside, answers that are judged, and what is measured beside them."""
