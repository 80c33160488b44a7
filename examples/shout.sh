#!/bin/sh
# Does the work of a task as a program: HANDLER=exec:examples/shout.sh
#
# The message comes on standard input, and what is printed is the task's result.
# The exit code says what becomes of the task, and standard error why:
#
#   0   done
#   65  no retry can help (EX_DATAERR): the task has failed
#   75  later (EX_TEMPFAIL); so does any other code
#
# MILLRACE_TASK_ID, MILLRACE_ATTEMPT and MILLRACE_DEADLINE tell of the task. At the
# deadline, or when the task or the worker is stopped, comes SIGTERM, and SIGKILL two
# seconds later. Exit code 0 means done then as well: who gives up exits otherwise.

trap 'echo stopped >&2; exit 75' TERM # what else runs here gets it as well

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
