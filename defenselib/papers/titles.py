"""The papers: their keys, in the order in which they are shown, and their titles. A paper's folder goes by its key."""

from __future__ import annotations

TITLES = {
    "asd": "Backdoor Defense via Adaptively Splitting Poisoned Dataset (Gao et al., CVPR 2023)",
    "bsd": "Bi-perspective Splitting Defense (Shen et al., ICML 2025)",
    "vab": "The Victim and The Beneficiary (Zhu et al., ICCV 2023)",
    "dst_dbr": "Effective Backdoor Defense by Exploiting Sensitivity of Poisoned Samples (Chen et al., NeurIPS 2022)",
    "aabl": "Adversarially Robust Anti-Backdoor Learning (Zhao and Wressnegger, AISec 2024)",
}
