"""The browser face on trame-slicer: one reader, one session, on this computer only."""
