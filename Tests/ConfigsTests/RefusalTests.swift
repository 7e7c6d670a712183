import Configs
import Testing

@Suite struct RefusalTests {
    @Test func unknownKeysNameLineAndNearestKey() {
        let misspelt = minimal.replacing("learning_rate", with: "learning_rte")
        #expect(
            refusal(misspelt)
                == "a.yaml:7: unknown key train.optimizer.learning_rte; did you mean "
                + "train.optimizer.learning_rate?")
        #expect(
            refusal(minimal + "\nlearning_rate: 3")
                == "a.yaml:8: unknown key learning_rate; did you mean train.optimizer.learning_rate?")
        #expect(
            refusal(minimal, "parallel.zzzzzz=3")
                == "override parallel.zzzzzz=3: unknown key parallel.zzzzzz; parallel has threads_per_rank, "
                + "reduction, bucket_mib, overlap, optimizer_sharding, hang_timeout, replica_check_every, reproducible"
        )
        #expect(
            refusal(minimal, "model.attention.mode=3").contains("override model.attention.mode=3: model.att"))
        #expect(refusal(minimal, "a.b.c.d.e.f=3").contains("unknown key a; the top level has name, model"))
        #expect(refusal(minimal + "\n<<: {a: 1}").contains("a.yaml:8: unknown key <<"))
    }

    @Test(arguments: [
        ("train.steps=many", "train.steps must be a whole number, found many"),
        ("train.steps=1.5", "found 1.5"),
        ("train.steps='3'", "found the text \"3\""),
        ("train.steps=", "found nothing"),
        ("train.steps=99999999999999999999", "must be a whole number"),
        ("train.steps=[1]", "found a list"),
        ("train.steps={a: 1}", "found a mapping"),
        ("train.seed=-1", "a whole number from 0 to 18446744073709551615"),
        ("model.dropout=.nan", "must be a number, found .nan"),
        ("model.dropout=1e999", "must be a number"),
        ("model.dropout=0x1p-2", "must be a number"),
        ("parallel.overlap=yes", "must be true or false, found yes"),
        ("train.micro_batch=large", "must be auto or a whole number, found large"),
        ("train.optimizer.betas=0.9", "must be a list of numbers, found 0.9"),
        ("train.optimizer.betas=[0.9, x]", "must be a list of numbers"),
        ("data.generated.canary_copies=[0.5]", "must be a list of numbers"),
        ("train.clip_norm=off", "must be a number or null, found off"),
        ("name=[a]", "must be a text, found a list"),
        ("model=5", "model must be a mapping of keys to values, found 5"),
        ("model.attention=[stored]", "must be one of recomputed, stored, found a list"),
    ])
    func wrongTypesSayWhatWasExpectedAndFound(override: String, expected: String) {
        let error = refusal(minimal, override)
        #expect(error.hasPrefix("override \(override): "))
        #expect(error.contains(expected))
    }

    @Test func unknownWordsListTheAllowedOnes() {
        #expect(
            refusal(minimal, "model.attention=store")
                == "override model.attention=store: model.attention is store, but this version supports only "
                + "recomputed, stored; did you mean stored?")
        #expect(refusal(minimal, "precision.matmul=higher").contains("highest, high, medium"))
        #expect(refusal(minimal, "precision.activations=bf8").contains("supports only fp32, bf16, fp16"))
        for other in ["parallel.optimizer_sharding=true", "parallel.reduction=hierarchical"] {
            let text = refusal(minimal, "parallel.reproducible=true", other)
            #expect(
                text.contains("parallel.reproducible") && text.contains(other.prefix { $0 != "=" }), "\(text)"
            )
        }
    }

    @Test(arguments: [
        ("model.num_layers=0", "from 1 to"), ("model.d_model=-6", "from 1 to"),
        ("train.global_batch=3000000000", "from 1 to 2147483647"),
        ("model.norm_epsilon=0", "above 0 and below 1"), ("model.rotary_base=0.5", "from 1.0 to"),
        ("model.num_kv_heads=0", "from 1 to"), ("model.dropout=1", "at least 0 and below 1"),
        ("data.generated.canary_copies=[1, 1]", "1 to 64 different numbers from 0 to 65536"),
        ("data.generated.canary_copies=[-1]", "1 to 64 different numbers from 0 to 65536"),
        ("train.optimizer.bias_weight_decay=-1", "at least 0"),
        ("data.validation_fraction=0", "above 0 and below 1"),
        ("data.validation_fraction=1", "above 0 and below 1"), ("data.path=\"\"", "path of a file"),
        ("train.optimizer.betas=[0.9]", "two numbers"), ("train.optimizer.betas=[0.9, 1]", "below 1"),
        ("train.optimizer.learning_rate=0", "above 0"), ("train.clip_norm=0", "above 0, or null"),
        ("train.micro_batch=0", "auto or from 1"), ("train.schedule.final_fraction=1.1", "from 0.0 to 1.0"),
        ("name=../up", "letters, digits"), ("name=\"a b\"", "letters, digits"), ("name=.hidden", "letters"),
        ("name=ümlaut", "letters"), ("name=\"\"", "letters"),
    ])
    func valuesOutsideTheirLimitsAreRefused(override: String, expected: String) {
        #expect(refusal(minimal, override).contains("it must be"))
        #expect(refusal(minimal, override).contains(expected))
    }

    @Test(arguments: [
        ("model.num_heads=4", "d_model 6 is not divisible by model.num_heads 4; use 1, 2, 3, 6 heads"),
        ("model.vocab_size=255", "needs 256"),
        ("model.num_kv_heads=4", "num_heads 2 is not divisible by model.num_kv_heads 4"),
        ("model.positions=rotary", "model.d_model / model.num_heads = 3 is odd"),
        ("train.schedule.warmup_steps=11", "more than train.steps 10"),
        ("train.optimizer.momentum=0.9", "is for sgd and rmsprop"),
        ("train.optimizer.nesterov=true", "is for sgd with a momentum"),
    ])
    func valuesThatDoNotGoTogetherAreRefused(override: String, expected: String) {
        let error = refusal(minimal, override)
        #expect(error.hasPrefix("a.yaml: "))
        #expect(error.contains(expected))
    }

    @Test func patienceCountsEvaluationsAndKeepsTheBest() throws {
        #expect(
            refusal(minimal, "train.patience=2", "train.evaluate_every=0").contains(
                "train.patience counts evaluations, but train.evaluate_every is 0"))
        #expect(try parse(minimal, "train.patience=2").train.keepBest)
        #expect(try !parse(minimal, "train.patience=2", "train.keep_best=false").train.keepBest)
        #expect(try !parse(minimal).train.keepBest)
    }

    @Test func embeddingsDecayAsMatricesDoUnlessTheyAreNamed() throws {
        let decay = "train.optimizer.weight_decay=0.5"
        #expect(try parse(minimal, decay).train.optimizer.embeddingWeightDecay == 0.5)
        let named = try parse(minimal, decay, "train.optimizer.embedding_weight_decay=0").train.optimizer
        #expect(named.weightDecay == 0.5 && named.embeddingWeightDecay == 0)
        #expect(named.biasWeightDecay == 0 && named.normWeightDecay == 0)
    }

    @Test func maskTokensAreNoBytesAndInTheVocabulary() throws {
        let encoder = "model.family=encoder"
        #expect(refusal(minimal, encoder, "data.mask_token=300").contains("outside of model.vocab_size 300"))
        #expect(refusal(minimal, encoder, "data.mask_token=32").contains("data.mask_token 32 is a byte"))
        #expect(refusal(minimal, encoder, "model.vocab_size=256").contains("vocab_size at least 257"))
        #expect(refusal(minimal, "data.mask_token=-1").contains("from 0 to"))
        #expect(refusal(minimal, "train.mask_fraction=0").contains("above 0 and below 1"))
        #expect(try parse(minimal, encoder, "data.mask_token=256").data.maskToken == 256)
        #expect(try parse(minimal, encoder, "data.mask_token=null").data.maskToken == nil)
    }

    @Test func encodersAndDecodersTakePairs() {
        let family = "model.family=encoder-decoder"
        #expect(refusal(minimal, family).contains("data.task language has no pairs"))
        let copy = ["data={task: copy}"]
        func refused(_ overrides: String...) -> String {
            #expect(throws: LockstepError.self) {
                try RunConfig.parse(minimal, source: "a.yaml", overrides: copy + overrides)
            }?.description ?? ""
        }
        #expect(refused(family, "model.encoder_layers=0").contains("model.encoder_layers is 0"))
        #expect(refused(family, "model.source_length=0").contains("model.source_length is 0"))
        #expect(refused("model.encoder_layers=2").contains("leave it out"))
        #expect(refused("model.source_length=2").contains("family decoder"))
        #expect(refused("train.label_smoothing=1").contains("at least 0 and below 1"))
    }

    @Test func absurdSizesAreErrors() {
        let most = "2147483647"
        #expect(
            refusal(
                minimal, "model.num_layers=65536", "model.d_model=\(most)", "model.num_heads=1",
                "model.d_ff=\(most)", "model.context_length=\(most)", "model.vocab_size=\(most)",
                "train.global_batch=\(most)"
            ).contains("too large"))
        #expect(refusal(minimal, "model.num_layers=\(most)").contains("must be from 1 to 65536"))
        #expect(refusal(minimal, "model.d_model=2147483646").contains("too large"))
        #expect(refusal(minimal, "model.context_length=2147483646").contains("too large"))
    }

    @Test func missingKeysAreAllNamed() {
        let error = refusal("name: a\nmodel: {num_layers: 2}\ntrain:\n")
        #expect(error.hasPrefix("a.yaml: missing model.d_model, model.num_heads"))
        #expect(error.contains("train.steps, train.global_batch, train.optimizer.learning_rate;"))
    }

    @Test func malformedOverridesAreUsageErrors() {
        for override in ["train.steps", "=3", ".=3", "train..steps=3", "a.b.c.d.e.f.g.h.i=1"] {
            #expect(refusal(minimal, override, status: .usage).contains("key.path=value"))
        }
        #expect(refusal(minimal, "train.steps=[1").contains("override train.steps=[1: not valid YAML"))
    }

    @Test(arguments: [
        ("name: &a small", 1), ("name: a\nmodel: *m", 2), ("{name:*a}", 1), ("[&a b]", 1), ("a: 'x' # &b", 1),
        ("a: \"b # \", c: &x 1", 1), ("a: \"b\r# \", c: &x 1", 2), ("\u{FEFF}&a b", 1),
        ("a: b\u{2028}&c d", 2),
        ("# fine & good *here*\n&a b: 1", 2),
    ])
    func anchorsAndAliasesAreRefused(text: String, line: Int) {
        #expect(refusal(text).hasPrefix("a.yaml:\(line): anchors"))
    }

    @Test func ampersandsThatCannotBeAnchorsAreAccepted() throws {
        let text = "# R&D & more *emphasis*\n\(minimal)  # and *here*\n"
        #expect(try parse(text.replacing("text.txt", with: "a&b/*.txt & c")).data.path == "a&b/*.txt & c")
    }

    @Test func aliasBombsAreRefusedAtOnce() {
        var bomb = "a0: &a0 [x, x]\n"
        for level in 1...60 { bomb += "a\(level): &a\(level) [*a\(level - 1), *a\(level - 1)]\n" }
        #expect(refusal(bomb + "? *a60\n: 1").contains("anchors"))
    }

    @Test(arguments: [
        "name: a\nname: b", "train: {steps: 1, steps: 2}", "a: [", "a: b: c", "\t a", "a: 1\n--- \nb: 2",
        "? [a]\n: b",
        "- a\n- b", "text", "\"\\uD800\"", "%YAML 9.9\n---\na", "a: \u{1}", "!!int a: 3", "!<%FF> a", ": 1",
        "{}: 2",
    ])
    func malformedTextsAreErrorsWithALine(text: String) {
        #expect(refusal(text).hasPrefix("a.yaml:"))
    }

    @Test func deepNestingIsAnError() {
        for (opening, count) in [("[", 100_000), ("{a: ", 50_000), ("- ", 100_000), ("? ", 100_000)] {
            #expect(refusal(String(repeating: opening, count: count)).hasPrefix("a.yaml:"))
        }
    }

    @Test func messagesStayShortAndPrintable() {
        let long = String(repeating: "k", count: 200_000)
        #expect(refusal("\(long): 1").count < 400 || refusal("? \(long)\n: 1").count < 400)
        #expect(!refusal("\"\\e[31m\": 1").contains("\u{1B}"))
        #expect(!refusal(minimal, "name=\"\\e[31m\"").contains("\u{1B}"))
    }
}

@Suite struct DivisionTests {
    @Test func globalBatchMustDivideAmongTheRanks() throws {
        let config = try parse(minimal, "train.global_batch=32")
        for ranks in [1, 2, 4, 8, 16, 32] { try config.validate(ranks: ranks) }
        let three = #expect(throws: LockstepError.self) { try config.validate(ranks: 3) }
        #expect(
            three?.description
                == "train.global_batch 32 cannot be divided among 3 ranks; it works with 1, 2, 4, 8, 16, 32 ranks; "
                + "with 3 ranks use 30 or 33")
        let many = #expect(throws: LockstepError.self) { try config.validate(ranks: 40) }
        #expect(many?.description.hasSuffix("with 40 ranks use 40") == true)
        #expect(throws: LockstepError.self) { try config.validate(ranks: .max) }
        #expect(throws: LockstepError.self) { try config.validate(ranks: 0) }
    }

    @Test func microBatchMustDivideARanksShare() throws {
        let config = try parse(minimal, "train.global_batch=24", "train.micro_batch=4")
        for ranks in [1, 2, 3, 6] { try config.validate(ranks: ranks) }
        let error = #expect(throws: LockstepError.self) { try config.validate(ranks: 4) }
        #expect(error?.status == .badConfiguration)
        #expect(error?.description.contains("(24 / 4 = 6 sequences); use 1, 2, 3, 6 or auto") == true)
    }
}
