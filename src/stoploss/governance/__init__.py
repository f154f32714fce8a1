"""Who may ask for what, and what has to be there before more people get a treatment."""
