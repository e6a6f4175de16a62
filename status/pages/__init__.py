"""Pages for people that need the register or write down what they are told: certificate status, problem reports."""
