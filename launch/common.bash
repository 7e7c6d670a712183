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

# Whether a signal asked this script to end what it runs.
stopped=false
# By which mpirun is asked first.
stop_signal=TERM

# request_stop MPIRUN: asks once by the stop signal, then by TERM.
request_stop() {
    if [[ $stopped == false ]]; then kill "-$stop_signal" "$1"; else kill -TERM "$1"; fi || true
    stopped=true
}

# process_table: a line for every process, as in proc(5) under stat. Those that end meanwhile are left out.
process_table() { cat /proc/[0-9]*/stat 2>/dev/null || true; }

# session_members SESSION: the processes of a session that run.
session_members() {
    process_table |
        awk -v session="$1" '{pid = $1; sub(/.*\) /, ""); if ($4 == session && $1 != "Z") print pid}'
}

# has_only_dead_children PARENT: some of its children have ended, which it has not noticed, and none runs.
has_only_dead_children() {
    process_table |
        awk -v parent="$1" '{sub(/.*\) /, ""); if ($2 == parent) $1 == "Z" ? dead++ : alive++}
            END {exit !(dead && !alive)}'
}

# end_locked MPIRUN: kills it when it notices nothing any more. Open MPI 4.1's mpirun waits for itself for ever when a
# rank dies while it connects (PMIX ERROR: UNREACHABLE). After a death mpirun may sleep twice its patience of 5 s.
end_locked() {
    local seconds=0
    while kill -0 "$1" 2>/dev/null; do
        sleep 1 &>/dev/null # which may outlive this, and keep no pipe open
        if has_only_dead_children "$1"; then seconds=$((seconds + 1)); else seconds=0; fi
        if ((seconds > 11)); then
            echo "$script: all ranks here have ended and mpirun does not notice; it is ended, too." >&2
            kill -KILL "$1" || true
            return
        fi
    done
}

# supervise COMMAND...: runs an mpirun, passes signals on to it while it runs, ends ranks that outlive it, and returns
# its exit code, after words about failures for which mpirun, being --quiet, has none.
supervise() {
    local mpirun watcher code try
    # A session of its own, so that Ctrl-C, too, reaches it once and from here; told to end when this script is killed.
    setsid setpriv --pdeathsig TERM "$@" &
    mpirun=$!
    end_locked "$mpirun" &
    watcher=$!
    trap 'request_stop "$mpirun"' HUP INT TERM
    trap 'stopped=true; kill -USR1 "$mpirun" || true' USR1
    while :; do
        code=0
        wait "$mpirun" || code=$?
        kill -0 "$mpirun" 2>/dev/null || break
    done
    trap - HUP INT TERM USR1
    kill "$watcher" 2>/dev/null || true
    wait "$watcher" 2>/dev/null || true
    for ((try = 0; try < 50; try++)); do
        [[ -n $(session_members "$mpirun") ]] || break
        sleep 0.1
    done
    # shellcheck disable=SC2046 # a word for every process
    kill -KILL $(session_members "$mpirun") 2>/dev/null || true
    if [[ $stopped == true ]]; then
        echo "$script: stopped." >&2
    elif ((code > 128)); then
        echo "$script: a rank was ended by signal $((code - 128)) (exit code $code)." >&2
    elif ((code != 0 && (code < 64 || code > 82))); then
        echo "$script: mpirun ended with code $code; the line above without --quiet shows what it has to say." >&2
    fi
    return "$code"
}

# status_field FOLDER FIELD: a word or number of a run's status.json; nothing when there is none.
status_field() { sed -nE 's/^ *"'"$2"'" *: *"?([a-z0-9]+)"?,?$/\1/p' "$1/status.json" 2>/dev/null || true; }

# status_stamp FOLDER: changes whenever status.json is replaced.
status_stamp() { stat -c '%i %y' "$1/status.json" 2>/dev/null || true; }

# may_restart CODE STATE: whether a job that ended with CODE, and left STATE in status.json, crashed or hung. What a
# user has to mend comes back at once.
may_restart() {
    [[ $stopped == false ]] || return 1
    (($1 == 80 || $1 >= 128)) || { [[ $2 == running ]] && (($1 < 64 || $1 > 82)); }
}

# supervise_run FOLDER RESTARTS COMMAND...: supervises a training whose run is in FOLDER, starts it again with --resume
# after a crash or a hang, and returns the exit code in status.json, because mpirun's is not always the ranks'.
supervise_run() {
    local folder=$1 restarts=$2 restart=0 code before state resume=()
    shift 2
    stop_signal=USR1 # Ranks that train save a checkpoint and leave.
    while :; do
        before=$(status_stamp "$folder")
        code=0
        supervise "$@" ${resume[@]+"${resume[@]}"} || code=$?
        state=''
        [[ $(status_stamp "$folder") == "$before" ]] || state=$(status_field "$folder" state)
        if [[ -n $state && $state != running ]]; then code=$(status_field "$folder" exit_code); fi
        may_restart "$code" "$state" || return "$code"
        ((restart < restarts)) || break
        restart=$((restart + 1)) resume=(--resume)
        echo "$script: the run ended with code $code${state:+ and is marked $state}; restart $restart of" \
            "$restarts in $((2 ** restart)) s, from the last checkpoint." >&2
        sleep $((2 ** restart))
    done
    ((restarts == 0)) || echo "$script: the run ended with code $code after $restarts restarts; giving up." >&2
    return "$code"
}

# prepare_python FOLDER PACKAGE...: makes the virtual environment FOLDER, or adds the packages that it lacks. What is there
# is noted in its file .complete, a line for each.
prepare_python() {
    local environment=$1 package missing=()
    shift
    for package in "$@"; do
        grep -qxF "$package" "$environment/.complete" 2>/dev/null || missing+=("$package")
    done
    ((${#missing[@]} > 0)) || return 0
    python3 -c 'import ensurepip' 2>/dev/null ||
        fail 66 "Python cannot make virtual environments; install them with: apt-get install python3-venv"
    echo "$script: installing ${missing[*]} from PyPI into $environment; torch is a download of about 3 GB (CUDA's" \
        "libraries are part of the default wheel), 5.4 GB on disk" >&2
    [[ -x $environment/bin/pip ]] || python3 -m venv "$environment" >&2 ||
        fail 73 "python3 -m venv $environment failed"
    # An index that does not answer, or hardly, is to end this, too.
    local seconds=${PIP_SECONDS:-1200}
    timeout "$seconds" "$environment/bin/pip" install --retries 2 --timeout 30 "${missing[@]}" >&2 ||
        fail 74 "pip could not install ${missing[*]} within PIP_SECONDS=$seconds; what it said is above. Is the package index" \
            "($("$environment/bin/pip" config get global.index-url 2>/dev/null || echo https://pypi.org/simple)) reachable?"
    printf '%s\n' "${missing[@]}" >>"$environment/.complete"
}
