package main

import (
	"context"
	"encoding/json"
	"sync/atomic"
	"time"

	"github.com/hibiken/asynq"
)

// connection is how Asynq reaches Redis. Its own choice is ten connections a core.
func (o options) connection() asynq.RedisClientOpt {
	return asynq.RedisClientOpt{Addr: o.redis, PoolSize: o.conns}
}

func (o options) payload(sent time.Time) ([]byte, error) {
	return json.Marshal(job{Message: o.message, Sent: sent})
}

// server makes what works on the tasks. An idle one looks every o.poll: by default
// once a second.
func (o options) server() *asynq.Server {
	return asynq.NewServer(o.connection(), asynq.Config{Concurrency: o.workers, TaskCheckInterval: o.poll, LogLevel: asynq.FatalLevel})
}

// asynqDrain times in the process: Asynq forgets a task that is done. It is done
// once nothing waits and nothing runs, by Redis.
func asynqDrain(ctx context.Context, o options) error {
	client := asynq.NewClient(o.connection())
	defer client.Close()
	payload, err := o.payload(time.Time{})
	if err != nil {
		return err
	}
	total := o.tasks + o.warmTasks
	if err := fanOut(total, 64, func(int) error {
		_, err := client.EnqueueContext(ctx, asynq.NewTask("job", payload))
		return err
	}); err != nil {
		return err
	}
	inspector := asynq.NewInspector(o.connection())
	defer inspector.Close()

	var started atomic.Int64
	var from time.Time
	worked := make(chan struct{})
	server := o.server()
	err = server.Start(asynq.HandlerFunc(func(context.Context, *asynq.Task) error {
		switch started.Add(1) {
		case int64(max(1, o.warmTasks)):
			from = time.Now()
			begin()
		case int64(total):
			close(worked)
		}
		return nil
	}))
	if err != nil {
		return err
	}
	defer server.Shutdown()
	select {
	case <-worked:
	case <-ctx.Done():
		return ctx.Err()
	}
	for {
		info, err := inspector.GetQueueInfo("default")
		if err != nil {
			return err
		}
		if info.Active+info.Pending == 0 {
			break
		}
		if err := sleep(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
	end(o.tasks, time.Since(from))
	return nil
}

func asynqLatency(ctx context.Context, o options) error {
	client := asynq.NewClient(o.connection())
	defer client.Close()
	var w waits
	server := o.server()
	err := server.Start(asynq.HandlerFunc(func(_ context.Context, t *asynq.Task) error {
		var j job
		if err := json.Unmarshal(t.Payload(), &j); err != nil {
			return err
		}
		w.started(j.Sent)
		return nil
	}))
	if err != nil {
		return err
	}
	defer server.Shutdown()
	return openLoop(ctx, o, &w, func(ctx context.Context, sent time.Time) error {
		payload, err := o.payload(sent)
		if err != nil {
			return err
		}
		_, err = client.EnqueueContext(ctx, asynq.NewTask("job", payload))
		return err
	})
}
