"""One module for each noun of the console: its list, its page, its verbs."""
