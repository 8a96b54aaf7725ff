"""The cost plane: takes the journal into the store, adds up what requests cost, and shows it."""
