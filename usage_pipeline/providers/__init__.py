"""What each provider's usage and cost API is: one file a provider, the shared contract, and the HTTP client."""
