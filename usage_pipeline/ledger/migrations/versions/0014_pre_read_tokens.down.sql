DROP TABLE read_sessions;
DROP TABLE read_token_uses;
DROP TABLE read_tokens;
