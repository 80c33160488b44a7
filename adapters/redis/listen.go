package redis

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	redigo "github.com/gomodule/redigo/redis"

	"github.com/millrace/millrace/application"
)

// Listen subscribes on a connection of its own and calls hear for every signal
// until ctx ends or the connection is lost: closed, or silent for 8 seconds
// although it is pinged every 4. A connection that is closed while it is quiet is
// replaced first: a balancer's idle limit is no failure. Malformed messages are dropped,
// and the first of them is logged.
func (s *Signals) Listen(ctx context.Context, ready func(), hear func(application.Signal)) error {
	var began time.Time // of the last subscription
	once := sync.OnceFunc(ready)
	again := func() { began = time.Now(); once() }
	err := s.listen(ctx, again, hear)
	for lost(err) && !began.IsZero() && time.Since(began) >= s.leastQuiet && ctx.Err() == nil {
		began = time.Time{}
		err = s.listen(ctx, again, hear)
	}
	if ended := contextErr(ctx); ended != nil {
		return ended
	}
	return fmt.Errorf("listen to signals: %w", translate(err))
}

func (s *Signals) listen(ctx context.Context, ready func(), hear func(application.Signal)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.pool.awaitPrefix(ctx); err != nil {
		return err
	}
	c, err := s.pool.dial(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	defer context.AfterFunc(ctx, func() { _ = c.Close() })() // ends the wait
	sub := redigo.PubSubConn{Conn: c.Conn}
	if err := sub.Subscribe(s.channel()); err != nil {
		return err
	}
	switch answer := sub.ReceiveWithTimeout(s.pool.target.limits.Call).(type) {
	case redigo.Subscription:
	case error:
		return answer
	default:
		return fmt.Errorf("the reply to SUBSCRIBE is a %T", answer)
	}
	ready()
	done := make(chan struct{})
	var pinging sync.WaitGroup
	pinging.Go(func() { s.ping(sub, done) })
	defer pinging.Wait()
	defer close(done)
	return s.receive(ctx, sub, hear)
}

// receive calls hear for what arrives, until there is an error.
func (s *Signals) receive(ctx context.Context, sub redigo.PubSubConn, hear func(application.Signal)) error {
	malformed := 0
	for {
		switch m := sub.ReceiveWithTimeout(s.maxQuiet).(type) {
		case error:
			return m
		case redigo.Message:
			signal, err := parseSignal(string(m.Data))
			if err != nil {
				if malformed++; malformed == 1 {
					s.log.ErrorContext(ctx, "dropped a malformed signal", "channel", s.channel(), "error", err)
				}
				continue
			}
			if ctx.Err() == nil {
				hear(signal)
			}
		case redigo.Subscription:
			if m.Count == 0 {
				return errors.New("the server ended the subscription")
			}
		}
	}
}

// ping pings until done is closed. If a ping fails, receive gets the error.
func (s *Signals) ping(sub redigo.PubSubConn, done <-chan struct{}) {
	ticker := time.NewTicker(s.pingEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if sub.Ping("") != nil {
				return
			}
		case <-done:
			return
		}
	}
}
