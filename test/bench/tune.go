package main

import "fmt"

// tuneGoal compares nothing: River and Asynq have several settings, so that the best
// ones can be compared with, on whatever machine.
var tuneGoal = goal{
	name: "tune", named: true, title: "The settings of River and Asynq",
	about: "The settings with which River and Asynq were tried; those of the other tables are in the code beside this " +
		"one's.",
	contenders: func(options) []contender {
		var all []contender
		for _, conns := range []int{10, 20, 64} {
			all = append(all, contender{name: fmt.Sprintf("River `Insert`, %d connections", conns), measure: func(b *bench) reading {
				return riverInsertOn(b, conns)
			}})
		}
		for _, r := range []riverSettings{{1000, 10}, {2000, 4}, {2000, 10}, {2000, 20}, {5000, 10}} {
			all = append(all, contender{name: fmt.Sprintf("River drain, %d workers, %d connections", r.workers, r.conns), measure: riverDrain(r)})
		}
		for _, workers := range []int{8, 32, 100, 200} {
			all = append(all, contender{name: fmt.Sprintf("Asynq drain, %d workers", workers), measure: asynqDrain(workers)})
		}
		for _, t := range [][2]string{{"1ms", "1ms"}, {"1ms", "5ms"}, {"1ms", "1s"}, {"2ms", "20ms"}} {
			all = append(all, contender{name: fmt.Sprintf("River latency, a fetch every %s, a poll every %s", t[0], t[1]), measure: riverLatency(t)})
		}
		for _, poll := range []string{"1ms", "2ms", "5ms"} {
			all = append(all, contender{name: "Asynq latency, a poll every " + poll, measure: asynqLatency(poll)})
		}
		return all
	},
	judge: func(series, options) []verdict { return nil },
}
