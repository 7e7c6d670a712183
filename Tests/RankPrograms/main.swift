print("rank-programs")
