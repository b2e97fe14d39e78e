"""What several tests share: tiny models, runs, releases of data sets, servers."""
