// Command millrace runs API and worker in one process on an embedded store: no
// server is needed.
package main

import (
	"context"
	"fmt"
	"net"
	"os"

	"github.com/millrace/millrace/bootstrap"
	"github.com/millrace/millrace/cmd/internal/cli"
)

func main() {
	cmd := cli.Root("millrace", "Run Millrace in one process on an embedded store.", bootstrap.DescribeEmbedded(), serve)
	cmd.AddCommand(
		cli.Sub("serve", "Run API and worker, as millrace does without a command.", serve),
		cli.Sub("healthcheck", "Ask the Millrace on LISTEN_ADDR whether it is ready; exit with 0 if it is.", healthcheck),
	)
	os.Exit(cli.Main(cmd))
}

func serve(ctx context.Context, console cli.Console) error {
	cfg, err := bootstrap.LoadEmbedded(os.Environ())
	if err != nil {
		return err
	}
	log := console.Log(cfg.LogLevel)
	bootstrap.WarnOfMisspelled(os.Environ(), log)
	all, closeAll, err := bootstrap.NewEmbedded(cfg, log)
	if err != nil {
		return err
	}
	defer closeAll()
	return all.Run(ctx, func(addr net.Addr) { welcome(console, addr, cfg) })
}

// welcome prints where Millrace is and a command to try.
func welcome(console cli.Console, addr net.Addr, cfg bootstrap.EmbeddedConfig) {
	base, key, tasks := "http://"+addr.String(), "", ""
	if cfg.APIKeys != "" {
		key = " -H 'Authorization: Bearer KEY'"
	}
	if cfg.Handler == "log:" {
		tasks = "  Tasks are logged, and then completed: HANDLER=log:\n"
	}
	fmt.Fprintf(console.Out, `Millrace %s is ready.
  API   %s/tasks
  Docs  %s/docs
  Try   curl -i %s/tasks%s -H 'Content-Type: application/json' -d '{"message":"Hello World"}'
%s`, bootstrap.Version(), base, base, base, key, tasks)
}

func healthcheck(ctx context.Context, console cli.Console) error {
	cfg, err := bootstrap.LoadEmbeddedWith(os.Environ())
	if err != nil {
		return err
	}
	return cli.Healthcheck(ctx, console, cfg.ListenAddr)
}
