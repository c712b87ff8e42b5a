DROP TABLE showback_rules;
