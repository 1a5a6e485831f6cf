"""What scripts/bench is made of: servers, variants, rounds, arithmetic, report, chart."""
