//! The sans-I/O core of one media shard.
