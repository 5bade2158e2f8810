"""`bond campaign`: one operation over a selected fleet."""
