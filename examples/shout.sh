#!/bin/sh
# Handles a task as a program: HANDLER=exec:examples/shout.sh
#
# The message is on standard input, and standard output is the task's result. The exit
# code is the outcome, and standard error the reason:
#
#   0   the task is completed
#   65  no retry can help (EX_DATAERR): the task has failed
#   75  the task is retried (EX_TEMPFAIL), as after any other code
#
# MILLRACE_TASK_ID, MILLRACE_ATTEMPT and MILLRACE_DEADLINE describe the task. At the
# deadline, or when the task or the worker is stopped, the process group gets SIGTERM,
# and SIGKILL two seconds later. A program that ends after SIGTERM counts as interrupted,
# whatever its exit code.

trap 'echo stopped >&2; exit 75' TERM # the other processes of the group get it too

message=$(cat)
case $message in
'')
	echo "there is nothing to shout" >&2
	exit 65
	;;
later*)
	if [ "$MILLRACE_ATTEMPT" -eq 1 ]; then
		echo "too early to shout" >&2
		exit 75
	fi
	;;
slow*)
	sleep 600 &
	wait
	;;
esac
printf '%s!\n' "$message" | tr '[:lower:]' '[:upper:]'
