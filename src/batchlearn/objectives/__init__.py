"""What is minimised: losses, penalties, their sum over rows, and the factor of its Hessian."""
