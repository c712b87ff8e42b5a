"""What a provider calls the projects, keys and users of an account, listed for people to read.

One module per provider knows its lists; ``refresh`` asks for them and stores them. Nothing that counts hangs on this.
"""
