"""What may pass: the screens that stand before every effect."""
