"""What the host deployment shares with us: settings and database. Names are the host's."""
