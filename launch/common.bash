# What the launch scripts share; they source it. `$script` is the name under which they speak.

fail() {
    local code=$1
    shift
    printf '%s: %s\n' "$script" "$*" >&2
    exit "$code"
}

# is_count TEXT: a whole number from 1 to 999,999.
is_count() { [[ $1 =~ ^[1-9][0-9]{0,5}$ ]]; }

# The threads of a rank by the configuration file, block or flow style; 1 when it does not say.
configured_threads() {
    local threads
    threads=$(sed -nE 's/^([^#]*[^#_[:alnum:]])?threads_per_rank: *([0-9]+).*/\2/p' "$1" | tail -n 1)
    echo "${threads:-1}"
}

# The CPUs that this process may use, as the kernel writes them: 0-3,8.
allowed_cpus() { awk '/^Cpus_allowed_list/ {print $2}' /proc/self/status; }

# The number of cores that mpirun may bind to: the hyperthreads of a core, and CPUs outside the affinity mask, do not
# count.
count_cores() {
    local cpus cpu range
    cpus=$(allowed_cpus)
    for range in ${cpus//,/ }; do
        for ((cpu = ${range%-*}; cpu <= ${range#*-}; cpu++)); do
            cat "/sys/devices/system/cpu/cpu$cpu/topology/thread_siblings_list" 2>/dev/null || echo "$cpu"
        done
    done | sort -u | wc -l
}

# When it binds, mpirun overlooks an affinity mask (taskset); unbound, the ranks stay within it.
may_bind() { [[ $(allowed_cpus) == "$(cat /sys/devices/system/cpu/online)" ]]; }

# require_mpirun FLAG...: ends the script unless Open MPI's mpirun is there and may run as who we are, by the environment
# or by an --allow-run-as-root among its flags.
require_mpirun() {
    local is_meant=false
    [[ " $* " != *" --allow-run-as-root "* ]] || is_meant=true
    [[ -z ${OMPI_ALLOW_RUN_AS_ROOT:-} || -z ${OMPI_ALLOW_RUN_AS_ROOT_CONFIRM:-} ]] || is_meant=true
    if ((EUID == 0)) && [[ $is_meant == false ]]; then
        fail 77 "mpirun does not run as root unless you say so, because a mistake could damage the system. Become" \
            "an ordinary user; or, in a container, export OMPI_ALLOW_RUN_AS_ROOT=1" \
            "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 (or give --allow-run-as-root) and start again."
    fi
    command -v mpirun >/dev/null || fail 66 "there is no mpirun in PATH. launch/setup installs Open MPI."
    [[ $(mpirun --version 2>/dev/null) == *"Open MPI"* ]] ||
        fail 66 "the mpirun in PATH ($(command -v mpirun)) is not Open MPI's. Put Open MPI's first in PATH."
}

# The flags that tell the ranks how wide the terminal is: they write through a pipe and cannot see it.
terminal_flags() {
    local columns
    if [[ -t 2 ]] && read -r _ columns < <(stty size <&2 2>/dev/null) && ((columns > 0)); then
        printf '%s\n' -x "LOCKSTEP_TERMINAL_COLUMNS=$columns"
    fi
}

# print_line WORD...: as the shell would read it.
print_line() { printf '%q ' "$@" && echo; }

# supervise COMMAND...: runs an mpirun, passes signals on to it while it runs, and returns its exit code, after words
# about failures for which mpirun, being --quiet, has none.
supervise() {
    local mpirun code stopped=false
    # A session of its own, so that Ctrl-C, too, reaches it once and from here.
    setsid "$@" &
    mpirun=$!
    trap 'stopped=true; kill -TERM "$mpirun" || true' HUP INT TERM
    trap 'kill -USR1 "$mpirun" || true' USR1
    while :; do
        code=0
        wait "$mpirun" || code=$?
        kill -0 "$mpirun" 2>/dev/null || break
    done
    trap - HUP INT TERM USR1
    if [[ $stopped == true ]]; then
        echo "$script: stopped." >&2
    elif ((code > 128)); then
        echo "$script: a rank was ended by signal $((code - 128)) (exit code $code)." >&2
    elif ((code != 0 && (code < 64 || code > 82))); then
        echo "$script: mpirun ended with code $code; the line above without --quiet shows what it has to say." >&2
    fi
    return "$code"
}
