"""Running the processes of tools, whichever they are: stopped gently, followed, and never silent to Temporal."""
