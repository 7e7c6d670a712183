import Configs

extension Estimate {
    /// A table for people: what every world size shares, then a column per world size.
    ///
    /// - Parameter estimates: at least one, all of the same configuration.
    public static func table(_ config: RunConfig, _ estimates: [Estimate]) throws -> String {
        [
            description(of: config),
            layout(try parameterRows(config.model), columns: 2),
            layout(flopRows(estimates[0].flops), columns: 2),
            layout(perRankRows(estimates), columns: estimates.count),
        ].joined(separator: "\n\n") + "\n"
    }

    /// The estimate in a line, for the start of a run.
    public var summary: String {
        let arenas = "\(Quantity.bytes(memory.arenas)) of arenas a rank"
        let memory = memory.peak.map { "\(arenas) and \(Quantity.bytes($0)) at its peak" } ?? arenas
        return
            "expected: \(Quantity.grouped(parameters)) parameters, \(Quantity.flops(flops.perStep)) a step, "
            + "\(memory), \(Quantity.bytes(traffic.bytesPerStep)) sent a step"
    }

    private static func description(of config: RunConfig) -> String {
        let (model, train) = (config.model, config.train)
        let targets = counted(train.globalBatch * model.contextLength, "token")
        let tokens =
            model.family == .encoderDecoder
            ? "\(targets) of targets, \(Quantity.grouped(train.globalBatch * model.sourceLength)) of sources"
            : targets
        let activations = config.precision.activations
        let kept = activations == .fp32 ? "" : ", activations \(activations.rawValue)"
        return """
            \(modelDescription(of: config))
            A step: \(train.globalBatch) sequences (\(tokens)) over all ranks, \(train.optimizer.name.rawValue), \
            attention \(model.attention.rawValue), \(config.precision.parameters.rawValue)\(kept)
            """
    }

    /// The model in a line.
    static func modelDescription(of config: RunConfig) -> String {
        let model = config.model
        let isPair = model.family == .encoderDecoder
        let layers = isPair ? "\(model.encoderLayers) + \(model.numLayers)" : "\(model.numLayers)"
        let source = isPair ? ", source \(model.sourceLength)" : ""
        let dropout = model.dropout > 0 ? ", dropout \(model.dropout)" : ""
        let keys = model.numKVHeads < model.numHeads ? " (\(model.numKVHeads) of keys)" : ""
        return """
            \(config.name): \(model.family.rawValue), \(layers) layers, d_model \(model.dModel), \
            \(model.numHeads) heads\(keys), d_ff \(model.dFF), context \(model.contextLength)\(source), \
            vocabulary \(model.vocabSize), \(model.tieEmbeddings ? "tied" : "untied") head\(dropout)
            """
    }

    private static func parameterRows(_ model: ModelConfig) throws -> [Row] {
        let count = try ParameterCount(model)
        func row(_ label: String, _ number: Int) -> Row {
            let share = 1000 * Double(number) / Double(max(1, count.total))
            let tenths = Int(share.rounded())
            return Row("  " + label, [Quantity.grouped(number), "\(tenths / 10).\(tenths % 10) %"])
        }
        // What is fixed is no parameter, but Hugging Face's Marian counts it.
        let sinusoids = Row("and fixed sinusoids", [Quantity.grouped(count.total + count.sinusoids), ""])
        return [
            Row("Parameters", [Quantity.grouped(count.total), ""]),
            row("embeddings", count.embeddings),
            row("stack", count.stack),
            row("  attention", count.attention),
            row("  mlp", count.mlp),
            row("  norms", count.norms),
            row(model.tieEmbeddings ? "head (tied)" : "head", count.head),
        ] + (count.sinusoids > 0 ? [sinusoids] : [])
    }

    private static func flopRows(_ flops: FLOPs) -> [Row] {
        func row(_ label: String, _ number: Int) -> Row {
            Row(label, [Quantity.grouped(number), Quantity.flops(number)])
        }
        return [
            row("FLOPs of a step, all ranks", flops.perStep),
            row("  forward", flops.forward),
            row("  backward", flops.backward),
            row("    of which recomputed", flops.recomputed),
            row("  executed", flops.executed),
        ]
    }

    private static func perRankRows(_ estimates: [Estimate]) -> [Row] {
        let unknown = "not calibrated"
        func bytes(_ label: String, _ value: (Estimate) -> Int?) -> Row {
            Row(
                label,
                estimates.map { estimate in
                    guard let count = value(estimate) else { return unknown }
                    return "\(Quantity.grouped(count)) B  \(padded(Quantity.bytes(count), to: 8))"
                })
        }
        func seconds(_ label: String, _ value: (Estimate) -> Double?) -> Row {
            Row(label, estimates.map { value($0).map(Quantity.seconds) ?? unknown })
        }
        return [
            Row("Per rank, of", estimates.map { counted($0.ranks, "rank") }),
            Row("micro-batch", estimates.map { counted($0.microBatch, "sequence") }),
            Row("FLOPs of a step", estimates.map { Quantity.flops($0.flops.perStep / $0.ranks) }),
            Row("memory", []),
            bytes("  parameters") { $0.memory.parameters },
            bytes("  gradients") { $0.memory.gradients },
            bytes("  optimizer") { $0.memory.optimizer },
            bytes("  activations") { $0.memory.activations },
            bytes("  workspace") { $0.memory.workspace },
            bytes("  communication") { $0.memory.communication },
            bytes("  data") { $0.memory.data },
            bytes("  arenas") { $0.memory.arenas },
            bytes("  runtime") { $0.memory.runtime },
            bytes("  coordinator (rank 0)") { $0.memory.coordinator },
            bytes("  peak") { $0.memory.peak },
            bytes("memory of a host") { $0.memory.node },
            bytes("sent a step") { $0.traffic.bytesPerStep },
            seconds("time of a step") { $0.time.step },
            seconds("  forward") { $0.time.forward },
            seconds("  backward") { $0.time.backward },
            seconds("  reduction") { $0.time.reduction },
            seconds("  optimizer") { $0.time.optimizer },
            Row(
                "uncertainty",
                estimates.map { $0.time.uncertainty.map { "±\(Quantity.percent($0))" } ?? unknown }),
        ]
    }
}
