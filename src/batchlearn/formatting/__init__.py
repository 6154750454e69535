"""Single facts as people read them: numbers, names of the field, and one sentence for each code of a closed set."""
