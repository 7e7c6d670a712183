extension Profile {
    /// Takes over the layouts of an older profile of the same machine that this one did not measure again.
    public mutating func keepLayouts(of old: Profile?) {
        guard let old, old.machine.host == machine.host, old.machine.differences(from: machine).isEmpty else {
            return
        }
        layouts += old.layouts.filter { kept in
            !layouts.contains {
                $0.hosts == kept.hosts && $0.ranksPerHost == kept.ranksPerHost && $0.threads == kept.threads
            }
        }
    }
}
