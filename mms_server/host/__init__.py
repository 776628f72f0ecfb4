"""What is on one host: releases, generations, units, links, locks, control groups."""
