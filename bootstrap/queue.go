package bootstrap

import (
	"context"
	"errors"
	"log/slog"

	"github.com/millrace/millrace/adapters/postgres"
	"github.com/millrace/millrace/adapters/redis"
)

// nameQueue sets the prefix of the keys in Redis: that of the database, unless QUEUE_URL
// has one.
func nameQueue(ctx context.Context, db *postgres.DB, pool *redis.Pool) error {
	prefix, err := postgres.QueuePrefix(ctx, db)
	if err != nil {
		return err
	}
	pool.SetPrefix(prefix)
	return nil
}

// checkQueue tries at the start what is needed of Redis. One that cannot serve is a wrong
// setting. One that is away is none: tasks are accepted without it, and workers wait.
func checkQueue(ctx context.Context, log *slog.Logger, pool *redis.Pool) error {
	err := pool.Check(ctx)
	if refused, ok := errors.AsType[*redis.RefusedError](err); ok {
		return &SettingError{Name: "QUEUE_URL", Value: hidden, Allowed: "the URL of " + refused.Error()}
	}
	if err != nil && ctx.Err() == nil {
		log.Warn("Redis is not available: starting without it", "error", err)
	}
	return nil
}
