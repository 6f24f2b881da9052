#!/bin/sh
# The guest's first process: mounts, loads drivers, starts the agent, obeys the test on the second serial port.
export PATH=/bin
busybox mount -t proc none /proc
busybox mount -t sysfs none /sys
busybox mount -t devtmpfs none /dev
busybox mkdir -p /run /tmp
busybox mount -t tmpfs none /run
busybox stty -F /dev/ttyS1 raw -echo
busybox mdev 2>/dev/null
for module in $(busybox cat /modules.load); do busybox insmod /lib/modules/$module.ko; done
busybox ip link set lo up
busybox ip link set eth0 up
busybox ip addr add @ADDRESS@/24 dev eth0
busybox ip route add default via @GATEWAY@
exec 3<>/dev/ttyS1
echo "boot $(busybox cat /proc/sys/kernel/random/boot_id)" >&3

# Not a child of the shell that reads commands: the end of a child interrupts `read`, which forgets what it has read so
# far, and the test's next command comes right after "ended".
agent() {
    (
        (
            # The priority as it runs in a pod; its log is the console.
            /bin/palisade-agent @ARGUMENTS@ >/dev/ttyS0 2>&1
            echo "ended $?" >&3
        ) &
    )
}
pid() { busybox pidof palisade-agent; }
uptime_ms() { read -r up _ </proc/uptime; echo "${up%.*}${up#*.}0"; }
feeder() {
    for task in /proc/$(pid)/task/*; do
        read -r name <$task/comm
        [ "$name" = watchdog ] && echo "$task/status"
    done
}
switches() {
    while read -r key value; do [ "$key" = voluntary_ctxt_switches: ] && echo "$value"; done <$1
}

obey() {
    while read -r command argument <&3; do
        case $command in
        kill) busybox kill -KILL $(pid) ;;
        stop) busybox kill -STOP $(pid) ;;
        term) busybox kill -TERM $(pid) ;;
        start) agent ;;
        worst)
            # Right before the next feeding: the feeder woke up (that was one), and sleeps for $argument milliseconds.
            file=$(feeder)
            before=$(switches $file)
            while [ "$(switches $file)" = "$before" ]; do busybox usleep 5000; done
            busybox usleep $((argument * 1000))
            echo now >&3
            busybox kill -KILL $(pid)
            ;;
        late)
            # At this uptime in milliseconds, without another process between the look at the clock and the kill.
            agent_pid=$(pid)
            while read -r up _ </proc/uptime && [ "${up%.*}${up#*.}0" -lt $argument ]; do busybox usleep 5000; done
            kill -KILL $agent_pid && echo "killed $up" >&3
            ;;
        life) echo "life $(uptime_ms) $(busybox cat /run/palisade/agent.json)" >&3 ;;
        watchdog) echo "watchdog $(busybox cat /sys/class/watchdog/watchdog0/state /sys/class/watchdog/watchdog0/timeout | busybox tr '\n' ' ')" >&3 ;;
        memory) echo "memory $(busybox grep -E 'VmRSS|RssAnon|RssFile|VmLck|Threads' /proc/$(pid)/status | busybox tr -s '\t\n' ' ')" >&3 ;;
        # Steps the wall clock by $argument seconds.
        clock) busybox date -s "@$(($(busybox date +%s) + argument))" >/dev/null && echo "clock stepped" >&3 ;;
        # Everything that reached the watchdog's device file since the last time: uptime, what, byte.
        trace)
            trace=
            while read -r line; do
                case $line in
                *opened:* | *wrote:* | *closed:*) trace="$trace${line#*] }|" ;;
                esac
            done </sys/kernel/tracing/trace
            echo >/sys/kernel/tracing/trace
            echo "trace $trace" >&3
            ;;
        *) echo "unknown $command" >&3 ;;
        esac
    done
}

# What a scenario needs to find before the agent starts.
@PREPARE@
agent
# The first process inherits orphans, so it must not be the one that reads.
obey &
while :; do wait; done
