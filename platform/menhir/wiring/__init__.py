"""The only place that knows everybody: settings, urls, the two planes, the processes and their lifespans."""
